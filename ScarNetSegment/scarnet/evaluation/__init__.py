"""How well labels agree with experts' labels."""
