-- A small shop: what an application's database usually has.
CREATE ROLE shop_app NOLOGIN;

CREATE TYPE order_status AS ENUM ('placed', 'paid', 'sent', 'returned');
CREATE DOMAIN email AS text CHECK (VALUE ~ '^[^@ ]+@[^@ ]+$');

CREATE TABLE customers (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key uuid NOT NULL UNIQUE,
    name text NOT NULL,
    email email NOT NULL,
    since date NOT NULL,
    settings jsonb NOT NULL DEFAULT '{}');

CREATE TABLE orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer bigint NOT NULL REFERENCES customers,
    placed timestamptz NOT NULL,
    status order_status NOT NULL,
    cents bigint NOT NULL CHECK (cents > 0),
    lines jsonb NOT NULL);
CREATE INDEX ON orders (customer, placed);

CREATE TABLE payments (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    "order" bigint NOT NULL REFERENCES orders,
    paid timestamptz NOT NULL,
    cents bigint NOT NULL,
    reference text NOT NULL UNIQUE);

CREATE TABLE documents (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer bigint NOT NULL REFERENCES customers,
    title text NOT NULL,
    content bytea NOT NULL);

CREATE VIEW turnover AS
    SELECT date_trunc('month', placed) AS month, count(*) AS orders, sum(cents) / 100.0 AS amount
      FROM orders WHERE status <> 'returned' GROUP BY 1;

GRANT SELECT, INSERT, UPDATE ON customers, orders, payments, documents TO shop_app;
GRANT SELECT ON turnover TO shop_app;
ALTER TABLE customers ENABLE ROW LEVEL SECURITY;
CREATE POLICY everyone ON customers TO shop_app USING (true);
COMMENT ON TABLE orders IS 'Never deleted: what was returned stays, as returned';

INSERT INTO customers (key, name, email, since, settings)
SELECT md5(n::text)::uuid,
       (ARRAY['Ana', 'Björn', 'Chloé', 'Dmitri', 'Elif', 'Fatou', 'Gül', 'Hao', 'Íñigo', 'Joana'])[1 + n % 10]
           || ' ' || initcap(translate(substr(md5((n * 7)::text), 1, 7), '0123456789', 'aeioulnrst')),
       'customer' || n || '@example.org',
       date '2021-01-01' + n % 1800,
       jsonb_build_object('newsletter', n % 3 = 0, 'language', (ARRAY['en', 'es', 'de', 'tr'])[1 + n % 4])
  FROM generate_series(1, 5000) AS n;

INSERT INTO orders (customer, placed, status, cents, lines)
SELECT 1 + n * 7919 % 5000,
       timestamptz '2023-01-01 00:00+00' + n * interval '37 minutes',
       (ARRAY['placed', 'paid', 'sent', 'sent', 'sent', 'sent', 'returned'])[1 + n % 7]::order_status,
       100 + n * 31 % 90000,
       jsonb_build_array(jsonb_build_object('sku', substr(md5(n::text), 1, 8), 'pieces', 1 + n % 4))
  FROM generate_series(1, 40000) AS n;

INSERT INTO payments ("order", paid, cents, reference)
SELECT id, placed + interval '11 minutes', cents, 'R' || lpad(id::text, 9, '0')
  FROM orders WHERE status <> 'placed' ORDER BY id;

INSERT INTO documents (customer, title, content)
SELECT n, 'Invoice ' || n,
       (SELECT string_agg(sha256((n || ':' || part)::bytea), ''::bytea ORDER BY part) FROM generate_series(1, 200) AS part)
  FROM generate_series(1, 1500) AS n;
