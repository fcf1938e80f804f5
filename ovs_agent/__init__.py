"""The hands: what runs on every host and makes the bridge, the ports and the containers' interfaces as the API says."""
