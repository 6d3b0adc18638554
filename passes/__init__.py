"""Placeholder until passes exist."""
