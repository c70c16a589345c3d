"""What a child of the parent is: the control process, or a worker."""
