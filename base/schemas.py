"""The schema of every Parquet artifact; data/README.md describes them in words."""

import pyarrow as pa

# ingested/clicks/: one row per (image, query); duplicates in the log are added up.
# Shards hold whole queries (bucket = stable hash of the query); rows by query, then image.
CLICKS = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("query", pa.string(), nullable=False),
        pa.field("clicks", pa.int64(), nullable=False),
    ]
)

# ingested/images/: images and labels of the raw data set. `image` has the encoding that Hugging Face's `datasets`
# reads as an Image feature. Rows by image_id inside a shard, shard = stable hash of the image_id.
IMAGES = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("domain", pa.string(), nullable=False),  # source or target
        pa.field("category", pa.string(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),  # pixels
        pa.field("height", pa.int32(), nullable=False),
        # Never null, but `datasets` reads a field as an image only if it is declared nullable.
        pa.field("image", pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])),
    ]
)

# ingested/duplicates.parquet: the nearest duplicate of every image in each domain, if it has any there; rows by
# domain, image_id, duplicate_domain. pipelines/ingest/duplicates.py defines exact and near.
DUPLICATES = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("domain", pa.string(), nullable=False),
        pa.field("category", pa.string(), nullable=False),
        pa.field("duplicate_id", pa.string(), nullable=False),
        pa.field("duplicate_domain", pa.string(), nullable=False),
        pa.field("duplicate_category", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),  # exact or near
        pa.field("distance", pa.int32(), nullable=False),  # differing bits of the perceptual hashes; 0 if exact
        pa.field("group", pa.string()),  # first image of the domain's group of copies; null: duplicate of other domain
    ]
)

# .../quarantine/: every row that could not be used, with the reason and the original text. Equal rows of a file are
# one record; the sum of `rows` is the count in the summary.
QUARANTINE = pa.schema(
    [
        pa.field("file", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),  # 1-based line or row number of the first of the equal rows
        pa.field("reason", pa.string(), nullable=False),
        pa.field("raw", pa.string(), nullable=False),  # undecodable bytes as \xNN
        pa.field("rows", pa.int64(), nullable=False),  # rows of the file with this reason and this text
    ]
)

# cleaner/folds.parquet: the cleaner's network (fold) that scores each image; with several folds, the network that was
# not trained on the image. Rows by image_id.
FOLDS = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("category", pa.string(), nullable=False),
        pa.field("fold", pa.int32(), nullable=False),  # from 0
    ]
)

# scores/: the cleaner's probability of the image's own (possibly wrong) category; one row per source image,
# the same shards as the images.
SCORES = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("category", pa.string(), nullable=False),
        pa.field("probability", pa.float32()),  # null: the category was too small to train the cleaner on
    ]
)

# cleaned/images.parquet: Table II applied; one row per source image, rows by image_id.
CLEANED = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("category", pa.string(), nullable=False),
        pa.field("clicks", pa.int64(), nullable=False),
        pa.field("category_size", pa.int32(), nullable=False),
        pa.field("half", pa.string(), nullable=False),  # first (most clicked) or second
        pa.field("probability", pa.float32()),  # as in the scores
        pa.field("threshold", pa.float32()),  # null: the category is so small that it is kept (or dropped) whole
        pa.field("kept", pa.bool_(), nullable=False),
        pa.field("rule", pa.string(), nullable=False),  # the cell of Table II, as in "8 <= n < 100, first, p < 0.2"
    ]
)

# embedded/: frozen features of every image, in the same shards as the images.
EMBEDDED = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("domain", pa.string(), nullable=False),
        pa.field("feature", pa.list_(pa.float32()), nullable=False),
    ]
)

# denoised/images.parquet: labels that clicks and a classifier have been asked about; rows by image_id.
DENOISED = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("category", pa.string()),  # the most probable one
        pa.field("name", pa.string()),  # the given label, or the most clicked one; null: none is named
        pa.field("right", pa.float32(), nullable=False),  # probability of `category`
        pa.field("name_right", pa.float32()),  # probability of `name`; null: none is named, or the method is `table`
        pa.field("kept", pa.bool_(), nullable=False),
        pa.field("categories", pa.list_(pa.string()), nullable=False),  # soft labels, the most probable one first
        pa.field("probabilities", pa.list_(pa.float32()), nullable=False),
    ]
)

# denoised/categories.parquet: how reliable the names are; rows by category. Shares are expected ones, without a key.
RELIABILITY = pa.schema(
    [
        pa.field("category", pa.string(), nullable=False),
        pa.field("images_named", pa.int64(), nullable=False),  # images with this name
        pa.field("name_right", pa.float64()),  # share of them that are of this category
        pa.field("images_kept", pa.int64(), nullable=False),  # images with this label after denoising
        pa.field("right", pa.float64()),  # share of them that are of this category
        pa.field("reliability", pa.float64()),  # of an image of this category: share of its clicks that name it
        pa.field("mistaken_for", pa.string()),  # the name that clicks on its images have most often instead
    ]
)

# splits/categories.parquet: the outcome of the selection for every category; rows by domain, then category.
CATEGORIES = pa.schema(
    [
        pa.field("domain", pa.string(), nullable=False),
        pa.field("category", pa.string(), nullable=False),
        pa.field("images_ingested", pa.int32(), nullable=False),
        pa.field("images_cleaned", pa.int32(), nullable=False),  # images kept by Table II; the target is not cleaned
        pa.field("images_selected", pa.int32(), nullable=False),  # after the cap; 0: the category is left out
        pa.field("shared", pa.bool_(), nullable=False),  # both domains have enough images of the category
        pa.field("status", pa.string(), nullable=False),  # selected, or why the category is left out
    ]
)

# splits/images.parquet: the selected images of both domains; rows by domain, then image_id.
SELECTED = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("domain", pa.string(), nullable=False),
        pa.field("category", pa.string(), nullable=False),
        pa.field("shared", pa.bool_(), nullable=False),  # the category exists in both domains
    ]
)

# splits/seed-N.parquet: the same rows with their split.
SPLITS = pa.schema(
    [
        *SELECTED,
        pa.field("split", pa.string(), nullable=False),  # train, validation or test
    ]
)

# siamese/recipes/<run>/seed-N.parquet: the same for a run's labels; `split` may also be "left out".
RUN_IMAGES = pa.schema(
    [
        *SPLITS,
        pa.field("categories", pa.list_(pa.string()), nullable=False),  # soft labels; empty: `category` alone
        pa.field("probabilities", pa.list_(pa.float32()), nullable=False),
    ]
)

# features/queries/: the words of each distinct query, each word once, in order of first occurrence.
QUERIES = pa.schema(
    [
        pa.field("query", pa.string(), nullable=False),
        pa.field("words", pa.list_(pa.string()), nullable=False),
    ]
)

# Of vocabulary.parquet and click_features/, in their files' metadata. Raise it when their columns, or what these mean,
# change: tests/schema_versions/ has files of each version.
CLICK_FEATURES_VERSION = 1

# vocabulary.parquet: the K most clicked words; rows by word_id, which is the rank.
VOCABULARY = pa.schema(
    [
        pa.field("word_id", pa.int32(), nullable=False),
        pa.field("word", pa.string(), nullable=False),
        pa.field("clicks", pa.int64(), nullable=False),  # rho', clicks of all queries that contain the word
        pa.field("document_frequency", pa.int64(), nullable=False),  # images with c' > 0
        pa.field("idf", pa.float64(), nullable=False),  # ln(1 / rho), rho = document_frequency / n
    ]
)

# features/click_matrix/: the word click matrix C', one row per image; rows by image_id inside a shard.
CLICK_MATRIX = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("word_ids", pa.list_(pa.int32()), nullable=False),  # ascending
        pa.field("clicks", pa.list_(pa.int64()), nullable=False),
    ]
)

# click_features/: C' with the TF-IDF weights of eq. 1.
CLICK_FEATURES = pa.schema(
    [
        *CLICK_MATRIX,
        pa.field("tfidf", pa.list_(pa.float32()), nullable=False),
    ]
)

# click_labels/labels/: what the log's queries call each image; rows by image_id inside a shard.
CLICK_LABELS = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("category", pa.string()),  # the best, the first of equals; null: no query names one
        pa.field("share", pa.float64(), nullable=False),  # of the votes, of the best category; 0 if there is none
        pa.field("margin", pa.float64(), nullable=False),  # the share less that of the second; 0 if there is a tie
        pa.field("clicks", pa.int64(), nullable=False),  # of the queries that name a category
        pa.field("queries", pa.int64(), nullable=False),  # that name a category
        pa.field("categories", pa.list_(pa.string()), nullable=False),  # the best first
        pa.field("shares", pa.list_(pa.float32()), nullable=False),  # their sum is 1
    ]
)

# click_labels/names.parquet: what the log says of each name of a category; rows by category, then name.
NAMES = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False),  # the category itself, or an alias
        pa.field("category", pa.string(), nullable=False),
        pa.field("words", pa.list_(pa.string()), nullable=False),  # in the name's order
        pa.field("queries", pa.int64(), nullable=False),  # that have the whole name, and no longer name with its words
        pa.field("clicks", pa.int64(), nullable=False),  # of these queries
    ]
)

# click_labels/words.parquet: the words of the names, and what the log says of them; rows by word.
NAME_WORDS = pa.schema(
    [
        pa.field("word", pa.string(), nullable=False),
        pa.field("categories", pa.list_(pa.string()), nullable=False),  # with the word in a name
        pa.field("forms", pa.list_(pa.string()), nullable=False),  # taken for the word in queries, most clicks first
        pa.field("clicks", pa.int64(), nullable=False),  # of queries with the word
        pa.field("weight", pa.float64(), nullable=False),  # ln(1 + categories / categories with the word)
        pa.field("reliability", pa.float64(), nullable=False),  # 0 to 1: how much of a name comes with the word
    ]
)

# click_labels/several.parquet: the most clicked queries that name several categories; by clicks, then query.
SEVERAL_NAMES = pa.schema(
    [
        pa.field("query", pa.string(), nullable=False),
        pa.field("clicks", pa.int64(), nullable=False),
        pa.field("categories", pa.list_(pa.string()), nullable=False),
    ]
)

# tags/posts/: a user's tags of an image; rows by image_id, then user_id, inside a shard of whole images.
POSTS = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("time", pa.int64()),  # seconds since 1970, of the post's first tag; null: unknown
        pa.field("tag_ids", pa.list_(pa.int32()), nullable=False),  # ascending; empty: all its tags were left out
    ]
)

# tags/vocabulary.parquet: the most used tags; rows by tag_id, which is the rank.
TAG_VOCABULARY = pa.schema(
    [
        pa.field("tag_id", pa.int32(), nullable=False),
        pa.field("tag", pa.string(), nullable=False),
        pa.field("posts", pa.int64(), nullable=False),
        pa.field("users", pa.int64(), nullable=False),
    ]
)

# tag_splits/splits/seed-N.parquet: the split of every post; rows as in the posts, sorted by image_id, then user_id.
POST_SPLITS = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),  # train, validation, test or history
    ]
)

# tag_splits/histories/seed-N.parquet: how often each user gave each tag; rows by user_id, then tag_id.
TAG_HISTORIES = pa.schema(
    [
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("tag_id", pa.int32(), nullable=False),
        pa.field("count", pa.int64(), nullable=False),  # of the user's posts with the split train or history
    ]
)

# data/mtmdd/evaluations/.../predictions.parquet: one row per test image; rows by domain, then image_id.
PREDICTIONS = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("domain", pa.string(), nullable=False),
        pa.field("category", pa.string(), nullable=False),
        pa.field("predicted", pa.string(), nullable=False),
        pa.field("probability", pa.float32(), nullable=False),  # of the predicted category
        pa.field("click_error", pa.float32()),  # || N'(v) - N'(v^) ||^2; null: target image, or no clicks predicted
    ]
)

# data/mtmdd/evaluations/.../samples.parquet: some test images of each domain, right and wrong ones, with the words of
# their click features, the largest value first; rows by domain, then image_id.
SAMPLE_PREDICTIONS = pa.schema(
    [
        *(PREDICTIONS.field(name) for name in ("image_id", "domain", "category", "predicted", "probability")),
        pa.field("words", pa.list_(pa.string())),  # predicted ones; null: no clicks are predicted
        pa.field("words_values", pa.list_(pa.float32())),  # of v^, scaled to length 1
        pa.field("clicked", pa.list_(pa.string())),  # words really clicked; null: target image, or no clicks predicted
        pa.field("clicked_values", pa.list_(pa.float32())),  # of v, scaled to length 1
    ]
)

# data/dckt/<domain>/ingested/pairs/: one row per image-text pair. Rows by pair_id inside a shard, shard = stable hash
# of the pair_id.
PAIRS = pa.schema(
    [
        pa.field("pair_id", pa.string(), nullable=False),
        pa.field("category", pa.string(), nullable=False),
        pa.field("split", pa.string()),  # as given: train, validation or test; null: none is given
        pa.field("text", pa.string(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),  # pixels
        pa.field("height", pa.int32(), nullable=False),
        IMAGES.field("image"),
    ]
)

# .../ingested/fingerprints.parquet: what copies are found by (pipelines/ingest/duplicates.py); rows by pair_id.
FINGERPRINTS = pa.schema(
    [
        pa.field("pair_id", pa.string(), nullable=False),
        pa.field("category", pa.string(), nullable=False),
        pa.field("split", pa.string()),  # as given
        pa.field("digest", pa.binary(), nullable=False),  # SHA-256 of the image's bytes
        pa.field("coarse", pa.int64(), nullable=False),  # perceptual hashes; its 64 bits as a signed number
        pa.field("fine", pa.binary(), nullable=False),
        pa.field("text", pa.binary(), nullable=False),  # SHA-256 of the text, of lower-case words
    ]
)

# .../ingested/duplicates.parquet: pairs with the same picture or text as another pair of the folder; for each pair and
# kind the nearest. Rows by pair_id, then kind.
PAIR_DUPLICATES = pa.schema(
    [
        pa.field("pair_id", pa.string(), nullable=False),
        pa.field("category", pa.string(), nullable=False),
        pa.field("split", pa.string()),  # as given
        pa.field("duplicate_id", pa.string(), nullable=False),
        pa.field("duplicate_category", pa.string(), nullable=False),
        pa.field("duplicate_split", pa.string()),
        pa.field("kind", pa.string(), nullable=False),  # exact or near: the picture; text: the text
        pa.field("distance", pa.int32(), nullable=False),  # differing bits of the perceptual hashes; 0 if not near
        pa.field("group", pa.string()),  # first pair of the group of copies of the picture; null: kind is text
    ]
)

# data/dckt/overlap/pairs.parquet: pairs with the same picture or text as a pair of the other domain; for each pair and
# kind the nearest. Rows by domain, pair_id, kind.
PAIR_OVERLAP = pa.schema(
    [
        pa.field("domain", pa.string(), nullable=False),  # source or target
        pa.field("pair_id", pa.string(), nullable=False),
        pa.field("category", pa.string(), nullable=False),
        pa.field("duplicate_id", pa.string(), nullable=False),  # of the other domain
        pa.field("duplicate_category", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("distance", pa.int32(), nullable=False),
    ]
)

# .../splits/seed-N.parquet: the pairs with their split; rows by pair_id.
PAIR_SPLIT = pa.schema(
    [
        pa.field("pair_id", pa.string(), nullable=False),
        pa.field("category", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),  # train, validation or test
    ]
)

# .../splits/images.parquet: the same pairs for the jobs on words, which know images; the split of the first seed.
PAIR_IMAGES = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),  # the pair_id
        pa.field("split", pa.string(), nullable=False),
    ]
)

# .../word_vectors.parquet: vectors of the texts' words, all of one length; rows by word.
WORD_VECTORS = pa.schema(
    [
        pa.field("word", pa.string(), nullable=False),
        pa.field("vector", pa.list_(pa.float32()), nullable=False),
    ]
)

# .../text_features/seed-N.parquet: features of the texts, all of one length; rows by pair_id.
TEXT_FEATURES = pa.schema(
    [
        pa.field("pair_id", pa.string(), nullable=False),
        pa.field("feature", pa.list_(pa.float32()), nullable=False),
    ]
)

# data/dckt/clicks/queries.parquet: features of a log's queries that have a known word; rows by query.
QUERY_FEATURES = pa.schema(
    [
        pa.field("query", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),  # train, validation or test, by a hash of the query
        pa.field("words", pa.int64(), nullable=False),  # number of known words, 1 at least
        pa.field("feature", pa.list_(pa.float32()), nullable=False),
    ]
)

# items.parquet of an index that systems.dckt.index makes, and texts.parquet of its system's models; rows by id.
INDEXED = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),  # empty for an image
        pa.field("code", pa.list_(pa.float32()), nullable=False),  # the common representation
    ]
)

# units.parquet of an evaluation: one row per metric and unit (image, query or category); sorted by metric and unit. A
# metric is the sum of the numerators over the sum of the denominators.
UNITS = pa.schema(
    [
        pa.field("metric", pa.string(), nullable=False),
        pa.field("unit", pa.string(), nullable=False),
        pa.field("numerator", pa.float64(), nullable=False),
        pa.field("denominator", pa.float64(), nullable=False),
    ]
)

# annotation/ingested/labels.parquet: the labels of every image; rows by image_id.
LABEL_SETS = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("labels", pa.list_(pa.string()), nullable=False),  # ascending, at least one
        pa.field("split", pa.string()),  # as the data set gives it; null: it gives none
    ]
)

# annotation/splits/labels.parquet: what became of every label; rows by label.
LABELS = pa.schema(
    [
        pa.field("label", pa.string(), nullable=False),
        pa.field("images", pa.int64(), nullable=False),
        pa.field("status", pa.string(), nullable=False),  # selected, or why it is left out
    ]
)

# annotation/splits/seed-N.parquet: the images with their labels and split; rows by image_id.
LABEL_SPLITS = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("domain", pa.string(), nullable=False),  # source
        pa.field("labels", pa.list_(pa.string()), nullable=False),  # ascending, at least one; selected ones only
        pa.field("split", pa.string(), nullable=False),  # train, validation or test
    ]
)

# annotation/evaluations/.../predictions.parquet: one row per test image; rows by image_id.
ANNOTATIONS = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("labels", pa.list_(pa.string()), nullable=False),  # the true ones
        pa.field("probabilities", pa.list_(pa.float32()), nullable=False),  # of all labels, ascending by name
        pa.field("quantity", pa.float32()),  # predicted number of labels; null: the run predicts none
    ]
)

# What `clicksight predict` writes: one row per picture, in the order of the inputs. Names and their values have the
# largest value first; those that the model doesn't predict are empty.
PICTURE_PREDICTIONS = pa.schema(
    [
        pa.field("image", pa.string(), nullable=False),  # the path, or the archive or table and the name there
        pa.field("error", pa.string()),  # why the picture can't be used; null: it can
        pa.field("number", pa.int64()),  # the predicted number of labels; null: the model predicts none
        pa.field("categories", pa.list_(pa.string()), nullable=False),
        pa.field("categories_values", pa.list_(pa.float32()), nullable=False),  # probabilities
        pa.field("words", pa.list_(pa.string()), nullable=False),
        pa.field("words_values", pa.list_(pa.float32()), nullable=False),  # of the predicted click feature (length 1)
        pa.field("labels", pa.list_(pa.string()), nullable=False),
        pa.field("labels_values", pa.list_(pa.float32()), nullable=False),  # probabilities
        pa.field("tags", pa.list_(pa.string()), nullable=False),
        pa.field("tags_values", pa.list_(pa.float32()), nullable=False),  # probabilities
        pa.field("texts", pa.list_(pa.string()), nullable=False),
        pa.field("texts_values", pa.list_(pa.float32()), nullable=False),  # cosines
    ]
)

# pictures.parquet of an index that `clicksight index` makes: in the order of the inputs.
PICTURE_INDEX = pa.schema(
    [
        pa.field("image", pa.string(), nullable=False),  # the path, or the archive or table and the name there
        pa.field("clicks", pa.list_(pa.float32()), nullable=False),  # the predicted click feature, K entries, length 1
        pa.field("thumbnail", pa.binary()),  # the whole picture as a small JPEG; null: the index has none
    ]
)

# What `clicksight search --output` writes: pictures of an index, the most similar to the query first.
SEARCH_RESULTS = pa.schema(
    [
        pa.field("rank", pa.int64(), nullable=False),  # from 1
        pa.field("image", pa.string(), nullable=False),  # as in the index
        pa.field("cosine", pa.float64(), nullable=False),  # of the query and the predicted click feature
    ]
)

# The cut-offs of `clicksight cut-offs`: from which predicted clicks on a word or a category's name fits a picture; the
# words by word_id, then the names in their order. The files' metadata has the model's digest and run, the promised
# share, its confidence, and the number of the click log's validation images.
CUT_OFFS = pa.schema(
    [
        pa.field("kind", pa.string(), nullable=False),  # word or name
        pa.field("name", pa.string(), nullable=False),
        # Of the word's entry of the predicted click feature, or of its cosine with the name; null: too little evidence.
        pa.field("cut_off", pa.float32()),
        pa.field("above", pa.int64()),  # validation images above it; of names: above that of any name
        pa.field("right", pa.int64()),  # of these, clicked for the word, or of the category of the only name above
        pa.field("images", pa.int64(), nullable=False),  # validation images clicked for the word, or of the category
    ]
)
