"""Managed exports and imports of Firestore, which Google carries out from its database to its bucket and back."""
