"""OpenFlow 1.4 as pure bytes: flows to messages, messages to values, and one switch's state machine.

Nothing here knows sockets, threads or time; `controller.switch` carries the bytes.
"""
