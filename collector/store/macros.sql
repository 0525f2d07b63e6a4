-- Functions that the conditions of a query are made of (collector.store.conditions). @WORD@ is collector.store.sql.WORD.
-- All take texts or JSON and give NULL or an empty list where a document has no such value; none reads a file.

-- The values of a field as texts: those of a list, or the only one.
CREATE MACRO tw_values(v) AS CASE json_type(v)
    WHEN 'ARRAY' THEN list_filter(json_extract_string(v, '$[*]'), lambda e: e IS NOT NULL)
    WHEN 'OBJECT' THEN []::VARCHAR[]
    WHEN 'NULL' THEN []::VARCHAR[]
    ELSE list_filter([v ->> '$'], lambda e: e IS NOT NULL) END;

-- A floating-point number as our canonical encoding writes it, of which DuckDB differs in exponents.
CREATE MACRO tw_point(d) AS CASE WHEN strlen(d) = 1 THEN d ELSE d[1] || '.' || d[2:] END;
CREATE MACRO tw_power(sign, d) AS sign || tw_point(rtrim(d, '0')) || 'e+' || (strlen(d) - 1);
CREATE MACRO tw_double(t) AS CASE
    WHEN regexp_full_match(t, '-?\d{17,}\.0') THEN
        tw_power(regexp_extract(t, '^-?'), regexp_extract(t, '^-?(\d+)', 1))
    WHEN regexp_full_match(t, '-?0\.00000[1-9]\d*') THEN
        regexp_extract(t, '^-?') || tw_point(regexp_extract(t, '0\.00000(\d+)$', 1)) || 'e-6'
    ELSE regexp_replace(t, 'e(\d)', 'e+\1') END;
CREATE MACRO tw_text(v, kind) AS CASE WHEN kind = 'DOUBLE' THEN tw_double(v ->> '$') ELSE v ->> '$' END;

-- Leaves of an object whose keys are free: all, those below one dotted name (lists are looked through, and a dot may
-- stand within a key or between keys), or whether there is any.
CREATE MACRO tw_is_leaf(kind) AS kind NOT IN ('OBJECT', 'ARRAY', 'NULL');
CREATE MACRO tw_plain_key(fullkey) AS
    regexp_replace(regexp_replace(fullkey, '("(?:[^"\\]|\\.)*")|\[\d+\]', '\1', 'g'),
        '"((?:[^"\\]|\\.)*)"', '\1', 'g');
CREATE MACRO tw_leaves(d, root) AS (
    SELECT coalesce(list(tw_text(t.value, t.type)), []::VARCHAR[]) FROM json_tree(d, root) t WHERE tw_is_leaf(t.type));
CREATE MACRO tw_leaves_of(d, root, name) AS (
    SELECT coalesce(list(tw_text(t.value, t.type)), []::VARCHAR[]) FROM json_tree(d, root) t
    WHERE tw_is_leaf(t.type) AND tw_plain_key(t.fullkey) = name);
CREATE MACRO tw_has_leaf(d, root) AS EXISTS (SELECT 1 FROM json_tree(d, root) t WHERE tw_is_leaf(t.type));

-- The words of a text in lower case. The values of a list are one text, in which the character 30 is a word between them that no
-- query holds; neighbours are written so that a phrase is found by its text.
CREATE MACRO tw_line(t) AS replace(t, chr(30), ' ');
CREATE MACRO tw_lines(v) AS CASE json_type(v)
    WHEN 'ARRAY' THEN array_to_string(list_transform(tw_values(v), lambda e: tw_line(e)), chr(30))
    WHEN 'OBJECT' THEN NULL
    ELSE tw_line(v ->> '$') END;
CREATE MACRO tw_tokens(t) AS regexp_extract_all(t, '@WORD@|\x1E');
CREATE MACRO tw_neighbours(words) AS chr(31) || array_to_string(words, chr(31)) || chr(31);

-- An instant with nine fractional digits, so that instants compare as text.
CREATE MACRO tw_instant(t) AS CASE WHEN strlen(t) = 30 THEN t
    WHEN strlen(t) = 20 THEN replace(t, 'Z', '.000000000Z') ELSE rpad(rtrim(t, 'Z'), 29, '0') || 'Z' END;

-- An address as 32 hexadecimal digits: IPv4 as IPv6 sees it (::ffff:0:0/96).
CREATE MACRO tw_four(a) AS
    array_to_string(list_transform(string_split(a, '.'), lambda n: format('{:02x}', try_cast(n AS INTEGER))), '');
CREATE MACRO tw_groups(t) AS
    CASE WHEN t = '' THEN []::VARCHAR[] ELSE list_transform(string_split(t, ':'), lambda g: lpad(g, 4, '0')) END;
CREATE MACRO tw_mixed(a) AS CASE WHEN NOT contains(a, '.') THEN a ELSE
    regexp_extract(a, '^(.*:)[0-9.]+$', 1) || substr(tw_four(regexp_extract(a, '([0-9.]+)$', 1)), 1, 4) || ':' ||
    substr(tw_four(regexp_extract(a, '([0-9.]+)$', 1)), 5, 4) END;
CREATE MACRO tw_filled(l, r) AS
    array_to_string(list_concat(l, list_resize([]::VARCHAR[], 8 - len(l) - len(r), '0000'), r), '');
CREATE MACRO tw_six(halves) AS tw_filled(tw_groups(halves[1]), tw_groups(coalesce(halves[2], '')));
CREATE MACRO tw_address(a) AS CASE
    WHEN contains(a, ':') THEN tw_six(string_split(tw_mixed(lower(a)), '::'))
    WHEN regexp_full_match(a, '(\d{1,3}\.){3}\d{1,3}') THEN '00000000000000000000ffff' || tw_four(a) END;
