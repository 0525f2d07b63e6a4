"""The books (P2): of every record that was appended to the journal, what became of it, by hour, source and consumer.

Every consumer of the journal keeps a book of its own, for what is settled for one may be in flight for another. A book
is a function of the journal up to its position and of what the output refused or skipped, and is written whole before
the cursor that passes what it counts; so a kill loses nothing of it and counts nothing twice.

    balance/NAME.json      position, and the rows that may still change: of this hour, and where a record waits
    balance/NAME.closed    a row a line, numbered, for good: its hour is over and everything in it is settled
"""
