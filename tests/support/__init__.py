"""What tests share: servers they start, ports they take, the surroundings they run in. No assertions of ours live here."""
