"""Tests of the renderers; what pods mount is compared with golden files, byte for byte."""
