"""The language of the service and its log; imports nobody of ours."""
