"""What applications are made of, compared with what is known of its weaknesses."""
