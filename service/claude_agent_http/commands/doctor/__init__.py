"""`doctor`: what can be wrong on this machine, checked one by one."""
