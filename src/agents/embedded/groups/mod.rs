//! Groups, which agents belong to them, and the hashes that compare nodes (`spec/agentdb.md` 5, 7.11 to 7.15).
