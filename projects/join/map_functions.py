"""Inner join, the map side: customers and orders meet under the customer's id.

A customer is `customer id,name,city`; an order is `order id,customer id,date,amount`.
The number of fields tells which of the two a line is.
"""


def by_customer(line, auxiliary_data):
    fields = line.split(",")
    if len(fields) == 3:
        customer_id, name, city = fields
        return [(customer_id, ("customer", name, city))]
    order_id, customer_id, date, amount = fields
    return [(customer_id, ("order", date, order_id, float(amount)))]
