"""Small networks trained on scenes, with their checkpoints."""
