"""What the parent of several workers and its children share: memory, slots, and orders."""
