"""How a flow run is started: as a process of this machine; in a container; as a job of a cluster."""
