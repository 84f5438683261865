"""Posts, vocabulary, split and histories of a tag log, by hand in DuckDB: `python duckdb_tags.py LOG.tsv FOLDER TAGS`.

The log has the columns user_id, image_id, tag and time, and needs no repair: rows are not checked, and tags not folded.
The split is by image, in the shares 0.7, 0.1 and 0.2 on average, not exactly.
"""

import sys
from pathlib import Path

import duckdb

log, output, top = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
output.mkdir(parents=True, exist_ok=True)
database = duckdb.connect()
database.execute("SET threads = 2")
database.execute("SET preserve_insertion_order = false")
database.execute(f"""
    CREATE TABLE log AS
    SELECT image_id, user_id, tag, min(time) AS time
    FROM read_csv('{log}', delim = '\t', header = true, quote = '', escape = '',
                  columns = {{'user_id': 'VARCHAR', 'image_id': 'VARCHAR', 'tag': 'VARCHAR', 'time': 'BIGINT'}})
    GROUP BY ALL;

    CREATE TABLE vocabulary AS
    SELECT (row_number() OVER (ORDER BY posts DESC, tag) - 1)::INTEGER AS tag_id, *
    FROM (SELECT tag, count(*) AS posts, count(DISTINCT user_id) AS users FROM log GROUP BY tag HAVING users >= 2)
    ORDER BY posts DESC, tag LIMIT {top};

    CREATE TABLE posts AS
    SELECT image_id, user_id, min(time) AS time,
           coalesce(list(tag_id ORDER BY tag_id) FILTER (tag_id IS NOT NULL), []) AS tag_ids,
           CASE WHEN hash(image_id) % 10 < 7 THEN 'train' WHEN hash(image_id) % 10 < 8 THEN 'validation' ELSE 'test' END
               AS split
    FROM log LEFT JOIN vocabulary USING (tag) GROUP BY image_id, user_id;

    COPY (SELECT * FROM vocabulary ORDER BY tag_id) TO '{output}/vocabulary.parquet' (CODEC 'zstd');
    COPY (SELECT image_id, user_id, time, tag_ids FROM posts ORDER BY image_id, user_id)
        TO '{output}/posts.parquet' (CODEC 'zstd');
    COPY (SELECT image_id, user_id, split FROM posts ORDER BY image_id, user_id)
        TO '{output}/split.parquet' (CODEC 'zstd');
    COPY (SELECT user_id, tag_id, count(*) AS count
          FROM (SELECT user_id, unnest(tag_ids) AS tag_id FROM posts WHERE split = 'train')
          GROUP BY ALL ORDER BY user_id, tag_id)
        TO '{output}/histories.parquet' (CODEC 'zstd');
""")
