"""What changes a store: plans carried out, journalled, and taken back."""
