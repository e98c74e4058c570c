"""What the translation experiment is made of: crops, networks, measurement, figures."""
