"""One module a message type; each function renders rows as the bytes of one message."""
