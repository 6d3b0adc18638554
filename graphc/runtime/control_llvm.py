"""Native code of loops and branches, in LLVM IR: steps whose args blocks hold tables of other steps.

They have the calling convention of a kernel, so they stand in tables like one and nest.  Args
blocks, in words of eight bytes::

    loop    status, table of the body, most iterations, address of their number or 0,
            table of the condition or 0, address of its result, address of the iteration's
            number or 0, where to store how many there were or 0, number of slices, slices
    slice   address of the word to write, address of slice 0, bytes from one to the next,
            whether they are taken from the last to the first
    switch  status, address of the index, number of tables, tables
"""

from __future__ import annotations

from graphc.runtime.llvm_functions import load_llvm
from graphc.runtime.runner import RUN

__all__ = ["LOOP", "SLICE_WORDS", "SWITCH", "loop", "switch"]

SLICE_WORDS = 4
# The walk over a table, as a part of the module.
_RUN = RUN.replace("define i64 @run", "define internal i64 @run")

LOOP = """
define void @loop(ptr %args, i64 %block, i64 %blocks, i64 %worker) nounwind {
entry:
  %status = load ptr, ptr %args
  %body_at = getelementptr inbounds i64, ptr %args, i64 1
  %body = load ptr, ptr %body_at
  %most_at = getelementptr inbounds i64, ptr %args, i64 2
  %most = load i64, ptr %most_at
  %given_at = getelementptr inbounds i64, ptr %args, i64 3
  %given = load ptr, ptr %given_at
  %condition_at = getelementptr inbounds i64, ptr %args, i64 4
  %condition = load ptr, ptr %condition_at
  %flag_at = getelementptr inbounds i64, ptr %args, i64 5
  %flag = load ptr, ptr %flag_at
  %number_at = getelementptr inbounds i64, ptr %args, i64 6
  %number = load ptr, ptr %number_at
  %steps_at = getelementptr inbounds i64, ptr %args, i64 7
  %steps = load ptr, ptr %steps_at
  %slices_at = getelementptr inbounds i64, ptr %args, i64 8
  %slices = load i64, ptr %slices_at
  %first_slice = getelementptr inbounds i64, ptr %args, i64 9
  %counted = icmp ne ptr %given, null
  br i1 %counted, label %count, label %start
count:
  %asked = load i64, ptr %given
  %positive = call i64 @llvm.smax.i64(i64 %asked, i64 0)
  %limited = call i64 @llvm.smin.i64(i64 %positive, i64 %most)
  br label %start
start:
  %total = phi i64 [ %most, %entry ], [ %limited, %count ]
  %last = sub i64 %total, 1
  %numbered = icmp ne ptr %number, null
  %conditional = icmp ne ptr %condition, null
  %reported = icmp ne ptr %steps, null
  br label %next
next:
  %i = phi i64 [ 0, %start ], [ %following, %iterated ]
  %more = icmp slt i64 %i, %total
  br i1 %more, label %poll, label %end
poll:
  %code = load atomic i64, ptr %status monotonic, align 8
  %clear = icmp eq i64 %code, 0
  br i1 %clear, label %announce, label %end
announce:
  br i1 %numbered, label %write_number, label %ask
write_number:
  store i64 %i, ptr %number
  br label %ask
ask:
  br i1 %conditional, label %decide, label %place
decide:
  %ignored_steps = call i64 @run(ptr %condition, i64 0, i64 1, i64 %worker)
  %code_after = load atomic i64, ptr %status monotonic, align 8
  %clear_after = icmp eq i64 %code_after, 0
  br i1 %clear_after, label %answer, label %end
answer:
  %byte = load i8, ptr %flag
  %go_on = icmp ne i8 %byte, 0
  br i1 %go_on, label %place, label %end
place:
  %backwards = sub i64 %last, %i
  br label %slice
slice:
  %k = phi i64 [ 0, %place ], [ %k_next, %write_slice ]
  %left = icmp slt i64 %k, %slices
  br i1 %left, label %write_slice, label %body_run
write_slice:
  %offset = shl nuw nsw i64 %k, 2
  %slot_at = getelementptr inbounds i64, ptr %first_slice, i64 %offset
  %slot = load ptr, ptr %slot_at
  %base_at = getelementptr inbounds i64, ptr %slot_at, i64 1
  %base = load i64, ptr %base_at
  %stride_at = getelementptr inbounds i64, ptr %slot_at, i64 2
  %stride = load i64, ptr %stride_at
  %flip_at = getelementptr inbounds i64, ptr %slot_at, i64 3
  %flip = load i64, ptr %flip_at
  %flipped = icmp ne i64 %flip, 0
  %position = select i1 %flipped, i64 %backwards, i64 %i
  %distance = mul i64 %position, %stride
  %address = add i64 %base, %distance
  store i64 %address, ptr %slot
  %k_next = add nuw nsw i64 %k, 1
  br label %slice
body_run:
  %done = call i64 @run(ptr %body, i64 0, i64 1, i64 %worker)
  br label %iterated
iterated:
  %following = add nuw nsw i64 %i, 1
  br label %next
end:
  br i1 %reported, label %report, label %return
report:
  store i64 %i, ptr %steps
  br label %return
return:
  ret void
}

declare i64 @llvm.smax.i64(i64, i64)
declare i64 @llvm.smin.i64(i64, i64)
"""

SWITCH = """
define void @switch(ptr %args, i64 %block, i64 %blocks, i64 %worker) nounwind {
entry:
  %index_at = getelementptr inbounds i64, ptr %args, i64 1
  %index_ptr = load ptr, ptr %index_at
  %index = load i64, ptr %index_ptr
  %count_at = getelementptr inbounds i64, ptr %args, i64 2
  %count = load i64, ptr %count_at
  %last = sub i64 %count, 1
  %positive = call i64 @llvm.smax.i64(i64 %index, i64 0)
  %chosen = call i64 @llvm.smin.i64(i64 %positive, i64 %last)
  %tables = getelementptr inbounds i64, ptr %args, i64 3
  %table_at = getelementptr inbounds i64, ptr %tables, i64 %chosen
  %table = load ptr, ptr %table_at
  %done = call i64 @run(ptr %table, i64 0, i64 1, i64 %worker)
  ret void
}

declare i64 @llvm.smax.i64(i64, i64)
declare i64 @llvm.smin.i64(i64, i64)
"""


def loop() -> int:
    """Return the address of the step that runs a loop."""
    return load_llvm("graphc_loop", _RUN + LOOP, "loop")


def switch() -> int:
    """Return the address of the step that runs one of several tables."""
    return load_llvm("graphc_switch", _RUN + SWITCH, "switch")
