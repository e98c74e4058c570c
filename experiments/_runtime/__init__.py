"""What the runtime experiment is made of: sections, timing, peers, tables."""
