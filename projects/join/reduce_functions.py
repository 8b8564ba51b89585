"""Inner join, the reduce side: each order of a customer together with that customer's name and city."""


def orders_with_customer(group, auxiliary_data):
    customers = [value[1:] for value in group.values if value[0] == "customer"]
    orders = [value[1:] for value in group.values if value[0] == "order"]
    # Sorted, so that the result does not depend on which file was read first.
    return [(group.key, customer + order) for customer in sorted(customers) for order in sorted(orders)]
