"""A synthesized netlist as a simulated device: the cells' models as gates, the gates as C++."""
