"""The verifier: compares all the time what Kafka, the ledger's ranges and the tables say of the same rows.

It judges by what is stored and shares no code with what stores it (`settle`, `history`, `restorers`): a
fault of theirs must not be repeated here. The way of a pass, in the order of reading:

1. broker.py       topic ids, committed offsets, the log's starts
2. ranges.py       the finished batches: gaps, sums, losses, overlaps that contradict each other
3. rows.py         ledger rows and facts inside the ranges
4. broker.py       the log's ends, for what may still be on its way
5. notebook.py     what was found is looked at again before it is reported, and until it is mended
   verifier.py     goes on from there: new offsets at every pass, all offsets from time to time
"""
