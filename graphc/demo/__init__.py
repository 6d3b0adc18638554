"""The demo, written as a user of graphc would write it: LeNet on small images."""
