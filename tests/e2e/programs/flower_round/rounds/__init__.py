"""A federation's rounds without a model: arrays of numpy go out, come back changed, and are averaged."""
