"""The click features, written carefully by hand in DuckDB: `python duckdb_script.py LOG.tsv FOLDER`."""

import sys
from pathlib import Path

import duckdb

log, output = sys.argv[1], Path(sys.argv[2])
output.mkdir(parents=True, exist_ok=True)
database = duckdb.connect()
database.execute("SET threads = 2")
database.execute("SET preserve_insertion_order = false")
database.execute(f"""
    CREATE TABLE log AS
    SELECT image, query, sum(clicks)::BIGINT AS clicks
    FROM read_csv('{log}', delim = '\t', header = false, quote = '', escape = '',
                  columns = {{'image': 'VARCHAR', 'query': 'VARCHAR', 'clicks': 'BIGINT'}})
    GROUP BY ALL;

    CREATE TABLE words AS
    SELECT query, unnest(list_distinct(regexp_extract_all(lower(query), '[\\p{{L}}\\p{{N}}]+'))) AS word
    FROM (SELECT DISTINCT query FROM log);

    CREATE TABLE ranked AS
    SELECT (row_number() OVER (ORDER BY clicks DESC, word) - 1)::INTEGER AS word_id, word, clicks
    FROM (SELECT word, sum(total)::BIGINT AS clicks
          FROM words JOIN (SELECT query, sum(clicks) AS total FROM log GROUP BY query) USING (query) GROUP BY word)
    ORDER BY clicks DESC, word LIMIT 1000;

    CREATE TABLE matrix AS
    SELECT image, word_id, sum(log.clicks)::BIGINT AS clicks
    FROM log JOIN (SELECT query, word_id FROM words JOIN ranked USING (word)) USING (query)
    GROUP BY image, word_id;

    CREATE TABLE vocabulary AS
    SELECT word_id, word, any_value(ranked.clicks) AS clicks, count(*) AS document_frequency,
           ln((SELECT count(DISTINCT image) FROM log) / count(*)) AS idf
    FROM ranked JOIN matrix USING (word_id) GROUP BY word_id, word;

    COPY (SELECT * FROM vocabulary ORDER BY word_id) TO '{output}/vocabulary.parquet' (CODEC 'zstd');

    COPY (
        SELECT image AS image_id, list(word_id ORDER BY word_id) AS word_ids, list(clicks ORDER BY word_id) AS clicks,
               list((clicks / total * idf)::FLOAT ORDER BY word_id) AS tfidf
        FROM (SELECT image, word_id, matrix.clicks, idf, sum(matrix.clicks) OVER (PARTITION BY image) AS total
              FROM matrix JOIN vocabulary USING (word_id))
        GROUP BY image
        UNION ALL BY NAME
        SELECT DISTINCT image AS image_id, [] AS word_ids, [] AS clicks, [] AS tfidf
        FROM log ANTI JOIN matrix USING (image)
    ) TO '{output}/click_features.parquet' (CODEC 'zstd');
""")
