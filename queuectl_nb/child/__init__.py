"""Code that runs inside the process of a job."""
