"""Everything that needs the machine: native compilation, the object cache, plans and programs."""
