"""What a build of click features costs as its log grows: measured, fitted, and extrapolated."""
