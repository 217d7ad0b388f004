"""Python SDK of tritalk, a talking digital human on NVIDIA Triton."""
