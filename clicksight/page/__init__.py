"""The page to try trained models: pictures in, what they show out; words in, pictures out (`clicksight serve`)."""
