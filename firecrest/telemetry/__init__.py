"""What the process tells its operator; it never writes a secret."""
