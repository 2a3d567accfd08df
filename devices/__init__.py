"""The unit's side: simulated vehicles, the firmware of their telematics units, fleets of them on real connections."""
