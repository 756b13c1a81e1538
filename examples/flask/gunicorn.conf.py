"""`gunicorn app:app` reads this."""

# The configuration is checked once, and a worker starts fast. Each worker still has keys and connections of its own.
preload_app = True
workers = 4
# Each thread has a connection of its own; the threads of one worker share its cache of keys.
threads = 4
bind = "127.0.0.1:8000"
# Request lines, which hold uids and no text.
accesslog = "-"
