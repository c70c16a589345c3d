"""Messages between the control process and a worker: frames, questions and answers, the greeting, and settings."""
