"""What runs inside a training job: the wrapper, the Scaffold, the Saver, the hooks, warm starts."""
