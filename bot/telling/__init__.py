"""What people are told, unasked and asked: from the ledger to cards, and what makes a sound for whom."""
