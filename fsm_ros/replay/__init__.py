"""Recordings made (`recording`), measured (`evaluation`), and shown to the real node (`demo`)."""
