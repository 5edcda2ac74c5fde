"""The status page: what is under maintenance, what lies ahead and what is over, for everybody to see."""
