"""The claims of the paper, a module each for a group of them; `ledger` collects their verdicts."""
