"""The operator process: watches → queue → snapshot → decision → apply."""
