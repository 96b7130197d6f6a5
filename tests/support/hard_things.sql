-- A database with everything a dump finds hard, for psql with ON_ERROR_STOP, as a superuser, in an empty
-- database of a server of 15 or newer. What it holds is counted in tests/scenario/logical.rs.

-- Roles belong to the whole server.
CREATE ROLE hard_owner;
CREATE ROLE hard_reader;
CREATE ROLE "hard ""Writer"" ä" LOGIN;
GRANT hard_reader TO "hard ""Writer"" ä" WITH ADMIN OPTION;

CREATE EXTENSION pgcrypto;
CREATE SCHEMA ext;
CREATE EXTENSION hstore SCHEMA ext;
CREATE EXTENSION postgres_fdw SCHEMA ext;

CREATE SCHEMA shop AUTHORIZATION hard_owner;
CREATE SCHEMA "Größe & Co. ""quoted"" 日本";
CREATE SCHEMA empty;
COMMENT ON SCHEMA shop IS 'It''s a shop; with \ and
two lines';

-- Types
CREATE TYPE shop.mood AS ENUM ('sad', 'ok', 'it''s "fine"', 'glücklich');
ALTER TYPE shop.mood ADD VALUE 'so-so' BEFORE 'ok';
CREATE DOMAIN shop.email AS text CHECK (VALUE ~ '^[^@]+@[^@]+$') NOT NULL;
CREATE TYPE shop.address AS (street text, "house No" int, mood shop.mood);
CREATE TYPE shop.span AS RANGE (subtype = float8);
CREATE COLLATION shop.german (provider = icu, locale = 'de-DE');

-- Tables of every kind
CREATE TABLE shop.customer (
    id bigint GENERATED ALWAYS AS IDENTITY (START 1000 INCREMENT 7) PRIMARY KEY,
    name text COLLATE shop.german NOT NULL,
    email shop.email UNIQUE,
    mood shop.mood DEFAULT 'ok',
    home shop.address,
    tags text[] DEFAULT '{}',
    attributes ext.hstore,
    document jsonb,
    secret bytea,
    lower_name text GENERATED ALWAYS AS (lower(name)) STORED,
    born date, seen timestamptz DEFAULT now(), spans shop.span,
    CONSTRAINT "born before seen" CHECK (born IS NULL OR born < seen::date) NOT VALID
);
INSERT INTO shop.customer (name, email, mood, home, tags, attributes, document, secret, born, seen, spans)
SELECT 'Name ' || n || chr(9) || E'\\N' || chr(10) || 'é', 'a' || n || '@b.example', 'glücklich',
       ROW('Straße "x", (1)', n, 'so-so')::shop.address, ARRAY['a,b', NULL, '"', '\', ''], 'a=>1, "b c"=>NULL',
       jsonb_build_object('n', n, 'nested', jsonb_build_array(NULL, '\u00e9', 1e30)),
       '\x00ff00'::bytea || decode(md5(n::text), 'hex'), '1900-02-28', '2020-02-29 23:59:59.999999+00',
       '[-Infinity,1.5)'
  FROM generate_series(1, 101) n;
INSERT INTO shop.customer (name, email) VALUES ('', 'nulls@b.example');
CREATE INDEX customer_document ON shop.customer USING gin (document jsonb_path_ops);
CREATE INDEX "customer Name" ON shop.customer (lower(name) DESC NULLS LAST) INCLUDE (mood) WHERE mood <> 'sad';
CREATE STATISTICS shop.customer_statistics (dependencies) ON mood, born FROM shop.customer;
ALTER TABLE shop.customer CLUSTER ON customer_pkey;
ALTER TABLE shop.customer ALTER COLUMN name SET STATISTICS 500;
ALTER TABLE shop.customer SET (fillfactor = 70);
COMMENT ON COLUMN shop.customer.secret IS 'holds NULs';

-- Partitions: two levels, a default, one attached later with its columns in another order and a gap
CREATE TABLE shop.event (at timestamptz NOT NULL, kind text NOT NULL, customer bigint, payload text)
    PARTITION BY RANGE (at);
CREATE TABLE shop.event_2024 PARTITION OF shop.event FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE shop.event_2025 PARTITION OF shop.event FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')
    PARTITION BY LIST (kind);
CREATE TABLE shop."event_2025 Käufe" PARTITION OF shop.event_2025 FOR VALUES IN ('buy', NULL);
CREATE TABLE shop.event_rest PARTITION OF shop.event_2025 DEFAULT;
CREATE TABLE shop.event_old (payload text, gone int, kind text NOT NULL, customer bigint, at timestamptz NOT NULL);
ALTER TABLE shop.event_old DROP COLUMN gone;
ALTER TABLE shop.event ATTACH PARTITION shop.event_old FOR VALUES FROM (MINVALUE) TO ('2024-01-01');
CREATE INDEX ON shop.event (at, kind);
ALTER TABLE shop.event ADD FOREIGN KEY (customer) REFERENCES shop.customer;
INSERT INTO shop.event SELECT '2023-12-31 00:00+00', 'buy', NULL, repeat('x', 3000) FROM generate_series(1, 11);
INSERT INTO shop.event SELECT '2024-06-01 00:00+00', 'buy', 1000, 'p' FROM generate_series(1, 22);
INSERT INTO shop.event SELECT '2025-06-01 00:00+00', 'buy', 1007, 'p' FROM generate_series(1, 33);
INSERT INTO shop.event SELECT '2025-06-01 00:00+00', 'look', 1007, NULL FROM generate_series(1, 44);

-- Inheritance: the parent has rows of its own, and the child a primary key of its own
CREATE TABLE shop.animal (id int, name text);
CREATE TABLE shop.dog (breed text, PRIMARY KEY (id)) INHERITS (shop.animal);
INSERT INTO shop.animal SELECT n, 'animal' FROM generate_series(1, 3) n;
INSERT INTO shop.dog SELECT n, 'dog', 'b' FROM generate_series(1, 5) n;

-- Circular foreign keys, and one a table has to itself
CREATE TABLE shop.department (id int PRIMARY KEY, head int);
CREATE TABLE shop.staff (id int PRIMARY KEY, department int REFERENCES shop.department, boss int REFERENCES shop.staff);
ALTER TABLE shop.department ADD FOREIGN KEY (head) REFERENCES shop.staff DEFERRABLE INITIALLY DEFERRED;
BEGIN;
INSERT INTO shop.department VALUES (1, 1), (2, 2);
INSERT INTO shop.staff VALUES (1, 1, 2), (2, 2, 1);
COMMIT;

-- No columns, no rows, names that need quotes, text that looks like SQL
CREATE TABLE shop.no_columns ();
INSERT INTO shop.no_columns DEFAULT VALUES;
INSERT INTO shop.no_columns DEFAULT VALUES;
CREATE TABLE shop.no_rows (id serial PRIMARY KEY, x xml, EXCLUDE USING gist (int4range(id, id + 1) WITH &&));
CREATE TABLE "Größe & Co. ""quoted"" 日本"."select ""from"" wo; -- ä" (
    "Überschrift" text, "a.b" int, "c""d" int DEFAULT 3, "%s" text, "new
line" int);
INSERT INTO "Größe & Co. ""quoted"" 日本"."select ""from"" wo; -- ä" VALUES
    (E'\\.\n$$;''"', 1, 2, '%n', 3), (NULL, NULL, NULL, NULL, NULL);
CREATE UNLOGGED TABLE shop.session (id uuid DEFAULT gen_random_uuid(), data text);
INSERT INTO shop.session (data) SELECT 's' FROM generate_series(1, 9);
CREATE TEMPORARY TABLE gone_with_the_session (a int);
CREATE TABLE shop.big (id int PRIMARY KEY, body text, blob bytea);
ALTER TABLE shop.big ALTER COLUMN blob SET STORAGE EXTERNAL;
INSERT INTO shop.big SELECT n, repeat(md5(n::text), 4000), decode(repeat(md5(n::text), 3000), 'hex')
  FROM generate_series(1, 20) n;

-- Sequences: ahead of max(id), never called, downwards, small type, not owned by anything
SELECT setval('shop.no_rows_id_seq', 5000);
SELECT setval(pg_get_serial_sequence('shop.customer', 'id'), 70007);
CREATE SEQUENCE shop.never_called START 42;
CREATE SEQUENCE shop."Down" AS smallint INCREMENT -3 MAXVALUE 100 START 100 CYCLE CACHE 5;
SELECT nextval('shop."Down"');
CREATE SEQUENCE shop.largest;
SELECT setval('shop.largest', 9223372036854775807, false);

-- Views, materialised views (one never filled, one built on another), rules
CREATE VIEW shop.happy WITH (security_barrier) AS
    SELECT id, name FROM shop.customer WHERE mood > 'ok' WITH CASCADED CHECK OPTION;
CREATE MATERIALIZED VIEW shop.per_kind AS SELECT kind, count(*) AS n FROM shop.event GROUP BY kind;
CREATE UNIQUE INDEX ON shop.per_kind (kind);
CREATE MATERIALIZED VIEW shop.top AS SELECT * FROM shop.per_kind WHERE n > 50;
CREATE MATERIALIZED VIEW shop.never_filled AS SELECT 1 AS a WITH NO DATA;
CREATE VIEW shop.recursive AS WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT n FROM r;
CREATE TABLE shop.ruled (a int);
CREATE RULE "Regel eins" AS ON DELETE TO shop.ruled DO INSTEAD NOTHING;

-- Functions, procedures, aggregates, operators, casts, triggers
CREATE FUNCTION shop.touch() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    -- $$ inside, and a quote: '
    NEW.body := coalesce(NEW.body, '') || ''; RETURN NEW;
END $body$;
CREATE TRIGGER "touch Ä" BEFORE UPDATE ON shop.big FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*)
    EXECUTE FUNCTION shop.touch();
ALTER TABLE shop.big DISABLE TRIGGER "touch Ä";
CREATE FUNCTION shop.add(a int, b int DEFAULT 1, VARIADIC c int[] DEFAULT '{}') RETURNS int
    LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN a + b;
CREATE PROCEDURE shop.tidy(INOUT n int) LANGUAGE plpgsql SECURITY DEFINER SET search_path = shop, pg_temp
    AS $$ BEGIN n := n + 1; END $$;
CREATE AGGREGATE shop.product(int) (SFUNC = int4mul, STYPE = int, INITCOND = '1');
CREATE OPERATOR shop.### (LEFTARG = int, RIGHTARG = int, FUNCTION = int4mul, COMMUTATOR = OPERATOR(shop.###));
CREATE FUNCTION shop.mood_of(int) RETURNS shop.mood LANGUAGE sql IMMUTABLE AS $$ SELECT 'ok'::shop.mood $$;
CREATE CAST (int AS shop.mood) WITH FUNCTION shop.mood_of(int) AS ASSIGNMENT;
CREATE FUNCTION shop.on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN NULL; END $$;
CREATE EVENT TRIGGER hard_watch ON ddl_command_end WHEN TAG IN ('DROP TABLE') EXECUTE FUNCTION shop.on_ddl();
ALTER EVENT TRIGGER hard_watch ENABLE ALWAYS;
CREATE TEXT SEARCH CONFIGURATION shop.search (COPY = simple);

-- Row-level security, with and without FORCE
CREATE TABLE shop.secret (owner text DEFAULT current_user, body text);
INSERT INTO shop.secret VALUES ('a', '1'), ('b', '2'), ('c', '3');
ALTER TABLE shop.secret ENABLE ROW LEVEL SECURITY;
ALTER TABLE shop.secret FORCE ROW LEVEL SECURITY;
CREATE POLICY "own rows" ON shop.secret AS RESTRICTIVE FOR SELECT TO hard_reader USING (owner = current_user);

-- Another server's tables
CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '1', dbname 'none');
CREATE USER MAPPING FOR hard_reader SERVER elsewhere OPTIONS (user 'u', password 'p');
CREATE FOREIGN TABLE shop.remote (id int OPTIONS (column_name 'ID'), body text) SERVER elsewhere;

-- Large objects: sparse, empty, with an owner, privileges and a comment
SELECT lo_create(900001);
SELECT lo_from_bytea(900002, decode(repeat('00ff10', 50000), 'hex'));
SELECT lo_put(900001, 5000000, '\x01');
SELECT lo_create(900003);
ALTER LARGE OBJECT 900002 OWNER TO hard_owner;
GRANT SELECT ON LARGE OBJECT 900002 TO hard_reader;
COMMENT ON LARGE OBJECT 900003 IS 'empty';

-- Publications
CREATE PUBLICATION hard_publication FOR TABLE shop.customer (id, name) WHERE (id > 5), shop.big;

-- Owners and privileges
ALTER TABLE shop.big OWNER TO hard_owner;
ALTER TABLE shop.event OWNER TO hard_owner;
ALTER MATERIALIZED VIEW shop.per_kind OWNER TO "hard ""Writer"" ä";
-- Without it nobody could restore the materialised view: its owner fills it.
GRANT SELECT ON shop.event TO "hard ""Writer"" ä";
GRANT USAGE ON SCHEMA shop TO hard_reader, "hard ""Writer"" ä";
GRANT CREATE ON SCHEMA shop TO "hard ""Writer"" ä" WITH GRANT OPTION;
GRANT SELECT ON shop.customer TO hard_reader WITH GRANT OPTION;
GRANT INSERT (name, email), SELECT (id) ON shop.customer TO "hard ""Writer"" ä";
GRANT ALL ON shop.big TO PUBLIC;
REVOKE ALL ON FUNCTION shop.add(int, int, int[]) FROM PUBLIC;
REVOKE ALL ON TABLE shop.ruled FROM CURRENT_USER;
GRANT USAGE ON SEQUENCE shop.never_called TO hard_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE hard_owner IN SCHEMA shop GRANT SELECT ON TABLES TO hard_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE hard_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

-- The database itself
SELECT format('COMMENT ON DATABASE %I IS %L', current_database(), 'hard; it''s') \gexec
SELECT format('ALTER DATABASE %I SET work_mem = %L', current_database(), '9MB') \gexec
SELECT format('ALTER DATABASE %I SET search_path = shop, public', current_database()) \gexec
SELECT format('ALTER ROLE hard_reader IN DATABASE %I SET statement_timeout = %L', current_database(), '5s') \gexec
SELECT format('GRANT CONNECT, TEMPORARY ON DATABASE %I TO hard_reader', current_database()) \gexec
SELECT format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database()) \gexec
SELECT format('ALTER DATABASE %I CONNECTION LIMIT 77', current_database()) \gexec
