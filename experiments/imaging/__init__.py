"""Image deblurring: what an implicit model computes grows steeper and better with test-time iterations."""
