"""What crosses a socket: messages, requests and rows; frames, sockets, keys, authentication, retries."""
