"""Networks: their documents, addresses, links, packet filter and names. Who is in one is ``container/``'s."""
