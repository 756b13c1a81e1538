"""What README, docs/, sql/ and examples/ say is so."""
