"""The lines by which the kit meets a unit: in process with a virtual clock, as its MQTT server, behind a broker, over TCP.

A wire hears in the background and is asked in the foreground: `pump` waits for news, `heard` holds all of it.
"""
